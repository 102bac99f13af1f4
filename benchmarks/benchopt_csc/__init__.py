"""A benchmark in benchopt's form, and the study that runs it."""
