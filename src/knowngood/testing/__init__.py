"""A kit for tests, public: stands in for what is slow, remote or whole, with the same promises."""
