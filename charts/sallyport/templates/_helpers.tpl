{{/*
Names are fixed and not made of the release's: the operator is one in a cluster, and its
own Secrets, Lease and admission policies have fixed names too. A second release is
refused by Helm, which finds the cluster roles taken.
*/}}
{{- define "sallyport.labels" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* What the operator's pods are selected by; the same as in config/, so that either can take over. */}}
{{- define "sallyport.controller.selector" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/component: controller
{{- end }}

{{- define "sallyport.redis.selector" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/component: redis
{{- end }}

{{/* sallyport.image takes root and image. */}}
{{- define "sallyport.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- if .image.digest }}{{ $name }}@{{ .image.digest }}{{ else }}{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* sallyport.pod is of the pod specs of the operator's image: the operator and the uninstaller. */}}
{{- define "sallyport.pod.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sallyport.container.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "sallyport.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/*
sallyport.check refuses what the schema cannot see: values that contradict each other, and
kinds that the cluster does not have. Each message says what to set.
*/}}
{{- define "sallyport.check" -}}
{{- range $path, $image := dict "controller" .Values.controller.image "sidecar" .Values.sidecar.image }}
{{- if and (not $.Values.image.registry) (not (contains "/" $image.repository)) }}
{{- fail (printf "\n\nimage.registry is empty: set it to the registry and path that hold your images %q and %q, such as --set image.registry=registry.example.com/security" $.Values.controller.image.repository $.Values.sidecar.image.repository) }}
{{- end }}
{{- end }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/component" }}
{{- if hasKey $.Values.controller.podLabels $label }}
{{- fail (printf "\n\ncontroller.podLabels sets %s, by which the operator's pods are selected: leave it out" $label) }}
{{- end }}
{{- end }}
{{- include "sallyport.check.redis" . }}
{{- if and .Values.uninstall.force (not .Values.uninstall.hook) }}
{{- fail "\n\nuninstall.force tells the Job of uninstall.hook to go on, and that is switched off: set uninstall.hook=true, or leave force out" }}
{{- end }}
{{- if .Values.certManager.enabled }}
{{- include "sallyport.check.kind" (dict "root" . "value" "certManager.enabled" "kind" "cert-manager.io/v1/Certificate" "from" "cert-manager") }}
{{- end }}
{{- if .Values.metrics.podMonitor.enabled }}
{{- include "sallyport.check.kind" (dict "root" . "value" "metrics.podMonitor.enabled" "kind" "monitoring.coreos.com/v1/PodMonitor" "from" "the Prometheus operator") }}
{{- end }}
{{- if .Values.metrics.prometheusRule.enabled }}
{{- include "sallyport.check.kind" (dict "root" . "value" "metrics.prometheusRule.enabled" "kind" "monitoring.coreos.com/v1/PrometheusRule" "from" "the Prometheus operator") }}
{{- end }}
{{- end }}

{{- define "sallyport.check.kind" -}}
{{- if not (.root.Capabilities.APIVersions.Has .kind) }}
{{- fail (printf "\n\n%s is true, and the cluster has no %s: install %s first, or set it to false. (helm template asks no cluster: tell it with --api-versions %s)" .value .kind .from .kind) }}
{{- end }}
{{- end }}

{{- define "sallyport.check.redis" -}}
{{- $e := .Values.redis.external }}
{{- $tls := dict "serverName" $e.serverName "ca" $e.ca "caSecret.name" $e.caSecret.name "clientCertificateSecret" $e.clientCertificateSecret }}
{{- $sentinel := dict "sentinel.username" $e.sentinel.username "sentinel.passwordSecret.name" $e.sentinel.passwordSecret.name }}
{{- $rest := dict "url" $e.url "username" $e.username "passwordSecret.name" $e.passwordSecret.name "waitReplicas" (int $e.waitReplicas) }}
{{- $set := include "sallyport.set" (merge dict $tls $sentinel $rest) }}
{{- if eq .Values.redis.mode "bundled" }}
{{- with include "sallyport.set" (merge dict $tls $sentinel $rest (dict "existingSecret" $e.existingSecret)) }}
{{- fail (printf "\n\nredis.mode is bundled, and %s says how another Redis is reached: set redis.mode=external, or leave it out" .) }}
{{- end }}
{{- include "sallyport.check.memory" .Values.redis.bundled }}
{{- else if $e.existingSecret }}
{{- with $set }}
{{- fail (printf "\n\nredis.external.existingSecret says all of how Redis is reached: put %s into that Secret, or leave existingSecret out" .) }}
{{- end }}
{{- else if not $e.url }}
{{- fail "\n\nredis.mode is external: set redis.external.existingSecret or redis.external.url" }}
{{- else if contains "@" $e.url }}
{{- fail "\n\nredis.external.url holds an @, and so perhaps a password: values end up in Git and in the release. Use redis.external.username and redis.external.passwordSecret.name" }}
{{- else if and $e.ca $e.caSecret.name }}
{{- fail "\n\nredis.external.ca and redis.external.caSecret.name are both set: name the authority once" }}
{{- else if and (not (hasPrefix "rediss" $e.url)) (include "sallyport.set" $tls) }}
{{- fail (printf "\n\nredis.external.url is without TLS, and %s is for TLS: write rediss in place of redis, or leave it out" (include "sallyport.set" $tls)) }}
{{- else if not (contains "+sentinel://" $e.url) }}
{{- with include "sallyport.set" $sentinel }}
{{- fail (printf "\n\nredis.external.url names no Sentinels, and %s is for them: write rediss+sentinel://host,host/primary/0, or leave it out" .) }}
{{- end }}
{{- else if not (regexMatch "^[^/]+//[^/]+/[^/]+(/[0-9]+)?$" $e.url) }}
{{- fail "\n\nredis.external.url names Sentinels, and not the primary that they watch: write rediss+sentinel://host,host/primary/0" }}
{{- else if and $e.sentinel.username (not $e.sentinel.passwordSecret.name) }}
{{- fail "\n\nredis.external.sentinel.username comes with redis.external.sentinel.passwordSecret.name" }}
{{- end }}
{{- end }}

{{/* sallyport.set lists those of redis.external's values that are set. */}}
{{- define "sallyport.set" -}}
{{- $set := list }}
{{- range $path, $value := . }}
{{- if $value }}{{ $set = append $set (printf "redis.external.%s" $path) }}{{ end }}
{{- end }}
{{- join ", " $set }}
{{- end }}

{{/* A Redis that may grow beyond its limit is killed when it does, and again each time it has loaded its log. */}}
{{- define "sallyport.check.memory" -}}
{{- $limit := dig "limits" "memory" "" .resources }}
{{- if and $limit (ge (include "sallyport.bytes" .maxmemory | float64) (include "sallyport.bytes" $limit | float64)) }}
{{- fail (printf "\n\nredis.bundled.maxmemory is %s and redis.bundled.resources.limits.memory %v: Redis would be killed before it is full. Set the limit to twice maxmemory" .maxmemory $limit) }}
{{- end }}
{{- end }}

{{/* sallyport.bytes is a size as Redis or Kubernetes writes it, as a number. */}}
{{- define "sallyport.bytes" -}}
{{- $units := dict "kb" 1024 "mb" 1048576 "gb" 1073741824 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "m" 0.001 }}
{{- $unit := kindIs "string" . | ternary (toString . | regexFind "[a-zA-Z]+$") "" }}
{{- mulf (trimSuffix $unit (toString .) | float64) (get $units $unit | default 1) }}
{{- end }}

{{/*
sallyport.redis.files are the sources of the folder that --redis-dir names: what is no
secret from the ConfigMap, the rest from the Secrets that the values name.
*/}}
{{- define "sallyport.redis.files" -}}
{{- $e := .Values.redis.external -}}
- configMap: {name: sallyport-redis}
{{- if eq .Values.redis.mode "external" }}
{{- with $e.passwordSecret }}{{ if .name }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: password}]}
{{- end }}{{ end }}
{{- with $e.caSecret }}{{ if .name }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: ca.crt}]}
{{- end }}{{ end }}
{{- with $e.clientCertificateSecret }}
- secret: {name: {{ . }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- with $e.sentinel.passwordSecret }}{{ if .name }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: sentinel-password}]}
{{- end }}{{ end }}
{{- end }}
{{- end }}
