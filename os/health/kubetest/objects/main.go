// Objects prints what a Kubernetes API server says of nodes, made of Kubernetes' own types: a JSON object of answers by
// name, each with its status code and its body. Package kubetest serves them; its testdata is this
// output.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// BootID and Name are those of the node.
const (
	BootID = "6f3c3a5e-7d1b-4b3e-9c57-0d6b4bfe4d1f"
	Name   = "node1"
)

type answer struct {
	Code int             `json:"code"`
	Body json.RawMessage `json:"body"`
}

func main() {
	answers, err := all()
	if err == nil {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(answers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "objects:", err)
		os.Exit(1)
	}
}

func all() (map[string]answer, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	codec := serializer.NewCodecFactory(scheme).LegacyCodec(corev1.SchemeGroupVersion)

	nodes := schema.GroupResource{Resource: "nodes"}
	answers := map[string]answer{}
	for name, object := range map[string]runtime.Object{
		"ready": node(BootID, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
		"not-ready": node(BootID, corev1.ConditionFalse, "KubeletNotReady",
			"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"),
		"unknown":      node(BootID, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."),
		"other-boot":   node("d0d5a6b4-0b3b-4a59-8a4c-0f6f1b0d7c11", corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
		"registering":  &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Name}},
		"list":         &corev1.NodeList{Items: []corev1.Node{*node(BootID, corev1.ConditionTrue, "KubeletReady", "")}},
		"absent":       status(apierrors.NewNotFound(nodes, Name)),
		"unauthorized": status(apierrors.NewUnauthorized("Unauthorized")),
		"forbidden":    status(apierrors.NewForbidden(nodes, Name, fmt.Errorf("User %q cannot get resource %q in API group %q at the cluster scope", "system:node:node2", "nodes", ""))),
		"error":        status(apierrors.NewInternalError(fmt.Errorf("etcdserver: request timed out"))),
		"starting":     status(apierrors.NewServiceUnavailable("apiserver is shutting down")),
	} {
		body, err := runtime.Encode(codec, object)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		code := http.StatusOK
		if s, ok := object.(*metav1.Status); ok {
			code = int(s.Code)
		}
		answers[name] = answer{code, body}
	}
	return answers, nil
}

func status(err *apierrors.StatusError) *metav1.Status { s := err.Status(); return &s }

// node is one as a kubelet registers it, with what is ready before and after the condition that counts.
func node(bootID string, ready corev1.ConditionStatus, reason, message string) *corev1.Node {
	at := metav1.NewTime(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: at, LastTransitionTime: at}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: Name, UID: "1c0c7b0e-3a39-4a2c-a1ee-8b4d7a9b5a52", ResourceVersion: "48213", CreationTimestamp: at,
			Labels:      map[string]string{corev1.LabelHostname: Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"},
			Annotations: map[string]string{"node.alpha.kubernetes.io/ttl": "0"},
		},
		Spec: corev1.NodeSpec{PodCIDR: "10.42.0.0/24", ProviderID: "rke2://" + Name},
		Status: corev1.NodeStatus{
			Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("2028304Ki")},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeNetworkUnavailable, corev1.ConditionFalse, "FlannelIsUp", "Flannel is running on this node"),
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
				condition(corev1.NodeReady, ready, reason, message),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
			},
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.11"}, {Type: corev1.NodeHostName, Address: Name}},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID: "d2f5b9a0c9c94d8e8f1f6f3a4c1e7b60", BootID: bootID, KernelVersion: "6.12.117-ember", OSImage: "Ember",
				ContainerRuntimeVersion: "containerd://2.2.0", KubeletVersion: "v1.36.1+rke2r1", OperatingSystem: "linux", Architecture: "amd64",
			},
			Images: []corev1.ContainerImage{{Names: []string{"registry.k8s.io/pause:3.10"}, SizeBytes: 320368}},
		},
	}
}
