package seal_test

// Values recorded from the key file of TestDerivationIsFixed.
const (
	nameOnce   = "IvecIHpU-TmqBmbj80_Z_S5k"
	macOnce    = "KLqkyh8HxoTqIJJ0gDZUBlDEu8J5h3G4up5ZMScjEw8="
	sealedOnce = "AQAAAAUppJ1qHm8AaXnbKFu2rXNqFs6w8qVM2thSghNeaqWSB0A3WKP6BzsCAg=="
)

// recorded is what a list of parts is called, and its MAC.
type recorded struct{ Name, MAC string }

// Values recorded from the parts of TestNamesAndMACsAreFixed.
var recordedOnce = []recorded{
	{Name: "H66fV-2bSvCfx-srGJR51WSi", MAC: "gq+vMeWs3o5eCz14fC6UVW264lFl9nlgcs9luhSA0bE="},
	{Name: "Xm5SdB9nfNQFopIhFstVtSxa", MAC: "uGuH33uEgo8WGyOnrrvZT0KztnT88Agos4mNfMQdqks="},
	{Name: "i0vK-lSzf5AtFIj9l7Tc5pzZ", MAC: "zFTjCdbPn1Uzy8ECrw8V2orGLb5ZZiQDk07tvbE98zI="},
	{Name: "3FJRyY3d3jsWM5QethoTO4Xq", MAC: "OVqd3vraoVRjN1PeJ64OL7hfmXXutvjT1M7DjrQrcA4="},
	{Name: "2U0RB9vtJPLA_-pwWSXLLFbM", MAC: "JufJePAQvaM+6nLN8iegTXMj05VjJtUJIQRPf2dHCRk="},
	{Name: "ANHgL4jZwIvfLI_y2A2j2GYW", MAC: "vHdqwQ+9azPseSOHP5AVhEIkrszhvjdCvOsV6uAtCe0="},
	{Name: "4nKP-B0BQQWo-t2ih65p7HGN", MAC: "djYsTEoJj8toh++farMolTVy/W4U6tx+VDfk2UnX6sc="},
	{Name: "mS5KB8pSdQrU8nNxXj99RGIk", MAC: "I+F/xd/tMARbDV04kQVqEi7qRVWSlD7s78bXYptmwpA="},
	{Name: "dRm_ZZag93maswniblG9arZ1", MAC: "feQ1HsW4ZOErUuOYoYnU7y+ZvbE3qQ2lAw/Nbwurg3g="},
}
