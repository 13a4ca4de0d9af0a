"""What a read-out is: the contract between the engine and a measurement."""
