"""The programs that tasks run, one file each. They read files and write files; they never see the record."""
