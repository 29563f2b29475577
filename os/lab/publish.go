package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/vm/bootserver"
	"github.com/ember-os/ember/tools/measurements"
	"github.com/ember-os/ember/tools/toolroot"
)

// The limits that a boot has: what must go wrong does so soon, and what must go right has time. The first boot has
// Tinkerbell's agent and a workflow to wait for.
const (
	firstLimits = "attest:60s,disk:8s,start:120s,hold:2s,wait:1s,longest:2s,probe:2s"
	laterLimits = "attest:60s,disk:8s,start:30s,hold:2s,wait:1s,longest:2s,probe:2s"
)

// publish makes a build, has the boot server serve it, and attestd let in machines that have booted it or those
// before it: what their TPMs will say is predicted.
func (r *rack) publish(build int, limits string) error {
	words := []string{
		"console=ttyS0 no_timer_check retain_initrd", buildWord(build), "ember.debug=shell",
		"ember.attest_url=https://" + attestAddress, "ember.attest_pin=" + r.station.Pin.String(), "ember.overlay_key=" + r.station.Signer,
		"ember.lkg=on ember.lkg_url=http://" + host + "/" + bootserver.Name, "ember.lkg_limits=" + limits,
		"ember.workload=services", r.tink.Netboot(mac).CommandLine(),
	}
	f := r.flags.files
	cmdline := strings.Join(words, " ")
	program, err := bootserver.Build(toolroot.Root{Marker: f.bootRoot}, f.kernel, f.initrd, cmdline)
	if err != nil {
		return err
	}
	content := measurements.Content{Version: fmt.Sprint("build ", build), Cmdline: cmdline, UKI: program, UKIName: bootserver.Name,
		KernelName: "kernel", InitrdName: "initrd"}
	if content.Kernel, err = os.ReadFile(f.kernel); err != nil {
		return err
	}
	if content.Initrd, err = os.ReadFile(f.initrd); err != nil {
		return err
	}
	predicted, err := measurements.Predict(content)
	if err != nil {
		return fmt.Errorf("predicting what build %d measures: %w", build, err)
	}
	text, err := predicted.JSON()
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.station.Path(buildName(build)+".json"), text, 0o600); err != nil {
		return err
	}
	var files []string
	for i := 1; i <= build; i++ {
		files = append(files, buildName(i)+".json")
	}
	r.station.Policy = fmt.Sprintf("{name: ours, tiers: [attested], measurements: {files: [%s], paths: [%s]}, overlay: %s}",
		strings.Join(files, ", "), measurements.UKI, station.Rack)
	r.boots.Publish(program)
	return nil
}

// forge publishes the next version of the overlay as somebody would who has taken over attestd: the key that has signed
// it is one that attestd was told, and no build.
func (r *rack) forge(ctx context.Context, files ...station.File) error {
	key, err := r.station.Keygen(ctx, "stranger")
	if err != nil {
		return err
	}
	r.station.Signers = append(r.station.Signers, key)
	return r.station.SealBy(ctx, "stranger", files...)
}

func buildName(n int) string { return fmt.Sprint("build-", n) }

// buildWord is on the command line of a build, for people and for the lab.
func buildWord(n int) string { return fmt.Sprint("lab.build=", n) }

// policyOf is what attestd calls the policy for machines with a build.
func policyOf(build int) string { return "ours/" + buildName(build) + "/" + measurements.UKI }

// agentUnit is the agent's, for a node that does its work without Tinkerbell too: it is up as soon as it was started.
const agentUnit = `[Unit]
Description=Tinkerbell's agent
After=network-online.target containerd.service
Wants=network-online.target containerd.service

[Service]
ExecStart=/usr/bin/ember tink-agent
Restart=always
StandardOutput=journal+console
`

// workflowCheck is a health command: this node is healthy once the workflow has written the disk.
func workflowCheck() string {
	line, _, _ := strings.Cut(string(images.Pattern(written)), "\n")
	return "#!/bin/sh\nhead -c 512 /dev/vdb | grep -q '" + line + "' || { echo 'no workflow has written /dev/vdb yet'; exit 1; }\n"
}

// configuration is an overlay whose service says on the console which one it is.
func (r *rack) configuration(name string) []station.File {
	files := station.Unit("say.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=echo "+configuredBy+name+"\nStandardOutput=journal+console\n")
	files = append(files, station.Unit("tink-agent.service", agentUnit)...)
	return append(files,
		station.File{Path: "etc/ember/health.d/workflow", Mode: 0o755, Text: workflowCheck()},
		station.File{Path: tinktest.TrustedCA, Mode: 0o644, Text: string(r.network.CA())})
}

// badUnit is a service that fails.
const badUnit = "bad.service"

// badConfiguration is one with which no node becomes healthy.
func (r *rack) badConfiguration(name string) []station.File {
	return append(r.configuration(name), station.Unit(badUnit, "[Service]\nType=oneshot\nExecStart=false\n")...)
}

// configuredBy is what the machine says before the name of its configuration.
const configuredBy = "configured by "
