package tpm_test

import (
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }
