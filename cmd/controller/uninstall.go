package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	mfav1alpha1 "github.com/sallyport/sallyport/api/v1alpha1"
)

const (
	// deployment is the operator's own.
	deployment = "sallyport-controller"
	// goneWithin is how long the operator's pods may take to end.
	goneWithin = 2 * time.Minute
)

// refusal is a wish that is understood and not granted.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func uninstallCommand() *cobra.Command {
	var namespace string
	var force bool
	cmd := &cobra.Command{
		Use: "uninstall", Short: "Withdraw the operator's rules, so that it can be removed",
		Long: `Uninstall ends the operator and then deletes its admission rules, which would refuse pods
for ever. It refuses, with exit code 3, where MFAPolicies are left: delete them while the
operator runs. The keys, the CRDs and the enrolments stay.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if namespace == "" {
				return &usageError{errors.New("--namespace is required")}
			}
			config, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("find the cluster: %w; set KUBECONFIG, or run in a pod", err)
			}
			c, err := client.New(config, client.Options{Scheme: scheme()})
			if err != nil {
				return fmt.Errorf("reach the cluster: %w", err)
			}
			u := &uninstaller{client: c, namespace: namespace, force: force, out: cmd.OutOrStdout()}
			return u.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the operator (default: POD_NAMESPACE)")
	cmd.Flags().BoolVar(&force, "force", false, "go on although policies are left: their apps start without a second factor from then on")
	return cmd
}

// uninstaller takes away what would hold up pods when the operator is gone.
type uninstaller struct {
	client    client.Client
	namespace string
	force     bool
	out       io.Writer
}

// run ends the operator first, for it would make its rules anew.
func (u *uninstaller) run(ctx context.Context) error {
	if err := u.ask(ctx); err != nil {
		return err
	}
	if err := u.stopOperator(ctx); err != nil {
		return fmt.Errorf("end the operator: %w", err)
	}
	rules := []client.ObjectList{
		new(admissionregistrationv1.MutatingWebhookConfigurationList),
		new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList), new(admissionregistrationv1.ValidatingAdmissionPolicyList),
	}
	if u.force {
		rules = append(rules, new(networkingv1.NetworkPolicyList))
	}
	for _, list := range rules {
		if err := u.deleteOurs(ctx, list); err != nil {
			return err
		}
	}
	u.say("The admission rules are withdrawn. The keys, the CRDs and the enrolments stay")
	return nil
}

// ask looks for policies that are left.
func (u *uninstaller) ask(ctx context.Context) error {
	policies := new(mfav1alpha1.MFAPolicyList)
	err := u.client.List(ctx, policies)
	if meta.IsNoMatchError(err) {
		return nil // without the CRD there are none
	}
	if err != nil {
		return fmt.Errorf("look for policies: %w", err)
	}
	if len(policies.Items) == 0 {
		return nil
	}
	names := make([]string, 0, len(policies.Items))
	for i := range policies.Items {
		names = append(names, policies.Items[i].Namespace+"/"+policies.Items[i].Name)
	}
	if u.force {
		u.say("From now on the apps of these policies start without a second factor: %s", strings.Join(names, ", "))
		return nil
	}
	return &refusal{fmt.Sprintf("MFAPolicies are left, and the pods that they select could not be created any more: %s. "+
		"Delete them while the operator runs: kubectl -n NAMESPACE delete mfapolicy NAME; it says which pods to restart", strings.Join(names, ", "))}
}

// stopOperator scales the operator down and waits until its pods are gone.
func (u *uninstaller) stopOperator(ctx context.Context) error {
	operator := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: u.namespace, Name: deployment}}
	scale := new(autoscalingv1.Scale)
	if err := u.client.SubResource("scale").Get(ctx, operator, scale); err != nil {
		return client.IgnoreNotFound(err)
	}
	scale.Spec.Replicas = 0
	if err := u.client.SubResource("scale").Update(ctx, operator, client.WithSubResourceBody(scale)); err != nil {
		return client.IgnoreNotFound(err)
	}
	u.say("Waiting until the operator has ended")
	return wait.PollUntilContextTimeout(ctx, time.Second, goneWithin, true, func(ctx context.Context) (bool, error) {
		pods := new(corev1.PodList)
		err := u.client.List(ctx, pods, client.InNamespace(u.namespace), client.MatchingLabels{
			"app.kubernetes.io/name": "sallyport", "app.kubernetes.io/component": "controller",
		})
		return len(pods.Items) == 0, err
	})
}

// deleteOurs deletes the objects of a list that the operator manages.
func (u *uninstaller) deleteOurs(ctx context.Context, list client.ObjectList) error {
	if err := u.client.List(ctx, list, client.MatchingLabels{mfav1alpha1.ManagedByLabel: mfav1alpha1.ManagedBy}); err != nil {
		return fmt.Errorf("list the operator's %T: %w", list, err)
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return nil
		}
		if err := client.IgnoreNotFound(u.client.Delete(ctx, object)); err != nil {
			return fmt.Errorf("delete %T %s: %w", object, object.GetName(), err)
		}
		return nil
	})
}

func (u *uninstaller) say(format string, args ...any) {
	_, _ = fmt.Fprintf(u.out, format+"\n", args...) // the exit code tells too
}
