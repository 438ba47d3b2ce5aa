"""File systems in this process: mounting through /dev/fuse, and the threads that answer the kernel."""
