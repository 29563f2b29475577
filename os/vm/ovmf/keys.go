package ovmf

import (
	"crypto/x509"
	"encoding/binary"
	"slices"
)

var (
	securityDatabase = mustGUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f") // vendor of db
	x509GUID         = mustGUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
	owner            = mustGUID("77fa9abd-0359-4d32-bd60-28f4e78f784b") // of a signature; anything goes
)

// Enrol returns the variables with Secure Boot's keys among them: certificate signs
// programs (db), keys for programs (KEK), and those (PK). A machine that starts with
// them is in user mode and enforces Secure Boot.
func Enrol(variables []Variable, certificate *x509.Certificate) []Variable {
	keys := []Variable{{Name: "PK", Vendor: Global}, {Name: "KEK", Vendor: Global}, {Name: "db", Vendor: securityDatabase}}
	variables = slices.DeleteFunc(slices.Clone(variables), func(v Variable) bool {
		return slices.ContainsFunc(keys, func(k Variable) bool { return k.Name == v.Name && k.Vendor == v.Vendor })
	})
	for _, k := range keys {
		k.Attributes = NonVolatile | BootAccess | RuntimeAccess | TimeAuthenticated
		k.Data = signatureList(certificate.Raw)
		variables = append(variables, k)
	}
	return variables
}

// signatureList is an EFI_SIGNATURE_LIST with one certificate in it.
func signatureList(certificate []byte) []byte {
	const listHeader = 28
	signature := slices.Concat(owner[:], certificate)
	b := slices.Clone(x509GUID[:])
	b = binary.LittleEndian.AppendUint32(b, uint32(listHeader+len(signature)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(signature)))
	return append(b, signature...)
}
