package images

import "bytes"

// AgentPath is where the agent is in its images.
const AgentPath = "tink-agent"

// Agent is an image with the agent at a path, as Tinkerbell makes them: from
// scratch, with the agent as its entrypoint.
func Agent(program []byte, path string) Image {
	return Image{Layers: [][]File{{{Path: path, Data: program}}}, Entrypoint: []string{"/" + path}}
}

// EntrypointOnly has the agent where only the image's entrypoint says it is.
func EntrypointOnly(program []byte) Image { return Agent(program, "opt/provisioning/run-agent") }

// Replaced has the agent in its upper layer and something else, which is gone,
// in the lower one.
func Replaced(program []byte) Image {
	i := Agent(program, "usr/bin/tink-agent")
	wrong := []File{{Path: AgentPath, Data: []byte("#!/bin/false\n")}, {Path: "usr/bin/tink-agent", Data: []byte("#!/bin/false\n")}}
	i.Layers = [][]File{wrong, append(i.Layers[0], File{Path: ".wh." + AgentPath})}
	return i
}

// WrongArchitecture is the agent for another machine: the manifest and the
// program say so.
func WrongArchitecture(program []byte) Image {
	const (
		machine      = 18  // offset of e_machine in an ELF header, elf(5)
		machineARM64 = 183 // EM_AARCH64
	)
	program = bytes.Clone(program)
	if len(program) > machine+1 {
		program[machine], program[machine+1] = machineARM64, 0
	}
	i := Agent(program, AgentPath)
	i.Architecture = "arm64"
	return i
}

// WithoutAgent is an image in which no agent is.
func WithoutAgent() Image {
	return Image{Layers: [][]File{{{Path: "etc/motd", Data: []byte("no agent here\n")}}}}
}
