"""Points as a file system that is read when somebody looks: `/SERVICE/COMPONENT/MOMENT/…`."""
