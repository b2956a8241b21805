package seal_test

// Values recorded from the key file of TestDerivationIsFixed.
const (
	nameOnce   = "IvecIHpU-TmqBmbj80_Z_S5k"
	macOnce    = "KLqkyh8HxoTqIJJ0gDZUBlDEu8J5h3G4up5ZMScjEw8="
	sealedOnce = "AQAAAAUppJ1qHm8AaXnbKFu2rXNqFs6w8qVM2thSghNeaqWSB0A3WKP6BzsCAg=="
)
