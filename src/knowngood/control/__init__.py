"""What people decide: services, policies, the home folder, and the wiring that verbs need."""
