"""The whole product on one machine: `make run`, and what tests and benchmarks need to start its parts."""
