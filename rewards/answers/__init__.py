"""When two answers are one: canonical forms, quantities, mathematics in a process of its own."""
