"""What can be protected: one package per kind of component. Kinds do not know each other."""
