{{/* What the templates share. */}}

{{- define "offerhub.labels" -}}
app.kubernetes.io/name: offerhub
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "offerhub.selector" -}}
app.kubernetes.io/name: offerhub
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "offerhub.name" -}}
{{- if contains "offerhub" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-offerhub" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "offerhub.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "offerhub.name" .) }}
{{- end }}

{{- define "offerhub.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The environment of every process: what is not secret by value, the rest from the Secret. */}}
{{- define "offerhub.environment" -}}
env:
  {{- range $name, $value := .Values.config }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  - name: PORT
    value: "4000"
  - name: METRICS_PORT
    value: {{ .Values.metrics.port | quote }}
envFrom:
  - secretRef:
      name: {{ .Values.secret.name }}
{{- end }}

{{/* Nobody in particular, without rights, on a file system that cannot be written. */}}
{{- define "offerhub.podSecurity" -}}
serviceAccountName: {{ include "offerhub.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
volumes:
  - name: tmp
    emptyDir:
      medium: Memory
      sizeLimit: 64Mi
{{- end }}

{{- define "offerhub.containerSecurity" -}}
image: {{ include "offerhub.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end }}

{{/* Replicas on different machines and in different zones, where there are several. */}}
{{- define "offerhub.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "offerhub.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
  {{- end }}
{{- end }}
