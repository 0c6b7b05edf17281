{{- /* Names of objects are fixed, for the controllers know them: there is one installation in a cluster. */}}

{{- define "rescind.selector" -}}
app.kubernetes.io/name: rescind
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- /* Labels that every object has. */}}
{{- define "rescind.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: rescind
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: rescind
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The metadata of an object: name, labels, annotations. Takes root, name, and optionally namespace, component,
labels and annotations. */}}
{{- define "rescind.metadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ .namespace | default .root.Release.Namespace }}
{{- end }}
labels:
  {{- $labels := include "rescind.labels" .root | fromYaml }}
  {{- with .component }}{{ $_ := set $labels "app.kubernetes.io/component" . }}{{ end }}
  {{- toYaml (merge dict (.labels | default dict) $labels) | nindent 2 }}
{{- with merge dict (.annotations | default dict) .root.Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where an image is. Takes root and image (controller, sidecar or cli). */}}
{{- define "rescind.image" -}}
{{- $image := get .root.Values.image .image -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "rescind.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* What a restricted namespace asks of a pod, and of a container. */}}
{{- define "rescind.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "rescind.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "rescind.serviceDomain" -}}
{{ .Values.tls.serviceDomain | default (printf "%s.svc" .Release.Namespace) }}
{{- end }}

{{- /* The Secret with a certificate that is not of the controllers' own authority; empty if it is. */}}
{{- define "rescind.tlsSecret" -}}
{{- if eq .Values.tls.source "secret" -}}
{{ required "tls.secretName: with tls.source=secret, name the Secret with tls.crt and tls.key" .Values.tls.secretName }}
{{- else if eq .Values.tls.source "certManager" -}}
rescind-controller-tls
{{- end }}
{{- end }}

{{- /* A quantity as injection reads it: Helm would write a large number with an exponent. */}}
{{- define "rescind.quantity" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ regexReplaceAll "\\.?0+$" (printf "%.3f" (float64 .)) "" }}{{ end -}}
{{- end }}

{{- /* The same as a number, to be compared. The units are those that the schema lets through. */}}
{{- define "rescind.thousandths" -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- $units := dict "m" 1 "" 1e3 "k" 1e6 "M" 1e9 "G" 1e12 "T" 1e15 "Ki" 1024e3 "Mi" 1048576e3 "Gi" 1073741824e3 "Ti" 1099511627776e3 -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number .)) -}}
{{- end }}

{{- /* Objects of a file that is kept as it is in the repository. Takes root, file, and the objects that are left out,
as Kind/name. */}}
{{- define "rescind.objects" -}}
{{- $labels := include "rescind.labels" .root | indent 4 }}
{{- with .root.Values.annotations }}{{ $labels = printf "%s\n  annotations:\n%s" $labels (toYaml . | indent 4) }}{{ end }}
{{- $text := .root.Files.Get .file | replace "rescind-system" .root.Release.Namespace }}
{{- range $document := splitList "\n---\n" $text }}
{{- $object := fromYaml $document }}
{{- if not (has (printf "%s/%s" $object.kind $object.metadata.name) $.without) }}
---
{{ $document | replace "\nmetadata:\n" (printf "\nmetadata:\n  labels:\n%s\n" $labels) | trim }}
{{ end }}
{{- end }}
{{- end }}
