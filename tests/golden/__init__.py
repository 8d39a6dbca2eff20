"""Tables and runs as each release wrote them, which every later one reads and goes on with. Each release adds one."""
