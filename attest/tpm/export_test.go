package tpm

// CutCertificate is what is taken of an NV index.
func CutCertificate(b []byte) []byte {
	der, _ := element(unwrap(b))
	return der
}
