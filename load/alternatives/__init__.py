"""What a user would pick instead: services of one short file that insert one row a request, and what they reach."""
