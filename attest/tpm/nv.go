package tpm

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

const (
	nvChunk = 512  // bytes that every TPM gives at once
	nvMax   = 8192 // bytes of an index that are read: a certificate has about 1,500
)

// handles lists what there is from one handle to another of the same kind.
func handles(t transport.TPM, first, last tpm2.TPMHandle) ([]tpm2.TPMHandle, error) {
	var found []tpm2.TPMHandle
	for next := first; ; {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(next), PropertyCount: 254}.Execute(t)
		if err != nil {
			return nil, err
		}
		list, err := got.CapabilityData.Data.Handles()
		if err != nil {
			return nil, err
		}
		for _, h := range list.Handle {
			if h < next || h > last {
				return found, nil
			}
			found, next = append(found, h), h+1
		}
		if !got.MoreData || len(list.Handle) == 0 {
			return found, nil
		}
	}
}

// readNV reads an NV index, without any authorization but an empty one.
func readNV(t transport.TPM, index tpm2.TPMHandle) ([]byte, error) {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("reading NV index %#x: %w", uint32(index), err)
	}
	area, err := public.NVPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("reading NV index %#x: %w", uint32(index), err)
	}
	by := reader(area)
	if area.DataSize > nvMax {
		return nil, fmt.Errorf("reading NV index %#x: it has %d bytes", uint32(index), area.DataSize)
	}
	data := make([]byte, 0, area.DataSize)
	for len(data) < int(area.DataSize) {
		read, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: by, Name: name(by, public.NVName), Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       min(nvChunk, area.DataSize-uint16(len(data))),
			Offset:     uint16(len(data)),
		}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("reading NV index %#x: %w", uint32(index), err)
		}
		if len(read.Data.Buffer) == 0 {
			return nil, fmt.Errorf("reading NV index %#x: the TPM gives nothing", uint32(index))
		}
		data = append(data, read.Data.Buffer...)
	}
	return data, nil
}

// reader is whose empty authorization reads an index: the index' own, unless that would be subject to the
// dictionary-attack protection. The owner may have a password.
func reader(area *tpm2.TPMSNVPublic) tpm2.TPMHandle {
	a := area.Attributes
	if a.AuthRead && (a.NoDA || !a.OwnerRead) {
		return area.NVIndex
	}
	return tpm2.TPMRHOwner
}

func name(h tpm2.TPMHandle, index tpm2.TPM2BName) tpm2.TPM2BName {
	if h == tpm2.TPMRHOwner {
		return tpm2.HandleName(h)
	}
	return index
}
