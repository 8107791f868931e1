"""What the tests need of the machine and of the program, apart from what they say."""
