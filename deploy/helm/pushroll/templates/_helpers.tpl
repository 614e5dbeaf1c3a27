{{/* What stands behind every name: nothing for the release `pushroll`, else the release's name. */}}
{{- define "pushroll.suffix" -}}
{{- $instance := .Values.instance | default (trimPrefix "pushroll-" .Release.Name) -}}
{{- if or .Values.instance (ne .Release.Name "pushroll") }}-{{ $instance }}{{ end -}}
{{- end }}

{{- define "pushroll.name" -}}
pushroll{{ include "pushroll.suffix" . }}
{{- end }}

{{/* The account of the CronJob. */}}
{{- define "pushroll.refresher" -}}
pushroll-refresher{{ include "pushroll.suffix" . }}
{{- end }}

{{/* The ConfigMap of the cache, and its Lease. */}}
{{- define "pushroll.cache" -}}
{{ .Values.cacheConfigMap | default (printf "deployment-image-cache%s" (include "pushroll.suffix" .)) }}
{{- end }}

{{/* The ConfigMap in which pushes wait, and its Lease. */}}
{{- define "pushroll.waiting" -}}
{{ .Values.waitingConfigMap | default (printf "pushroll-waiting%s" (include "pushroll.suffix" .)) }}
{{- end }}

{{/* What every object has, besides its own `app.kubernetes.io/name` where it has one. */}}
{{- define "pushroll.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/part-of: pushroll
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* By which Services, budgets and policies find the pods of the service. */}}
{{- define "pushroll.selector" -}}
app.kubernetes.io/name: pushroll
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "pushroll.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}
{{- if .tag }}:{{ .tag }}{{ else if not .digest }}:{{ $.Chart.AppVersion }}{{ end }}
{{- if .digest }}@{{ .digest }}{{ end }}
{{- end }}
{{- end }}

{{/* What every pushroll container must agree on. */}}
{{- define "pushroll.settings" -}}
PUSHROLL_CACHE_CONFIGMAP: {{ include "pushroll.cache" . | quote }}
PUSHROLL_WAITING_CONFIGMAP: {{ include "pushroll.waiting" . | quote }}
{{- if .Values.push.audience }}
PUSHROLL_AUDIENCE: {{ .Values.push.audience | quote }}
PUSHROLL_SERVICE_ACCOUNT: {{ .Values.push.serviceAccount | quote }}
{{- end }}
{{- with .Values.pull.subscription }}
PUSHROLL_PULL: {{ . | quote }}
{{- end }}
{{- with .Values.namespaces }}
PUSHROLL_NAMESPACES: {{ join "," . | quote }}
{{- end }}
{{- if .Values.refreshMounts }}
PUSHROLL_REFRESH_MOUNTS: "true"
{{- end }}
{{- end }}

{{/* Of the pods of the service and of the CronJob. */}}
{{- define "pushroll.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "pushroll.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the pods of the service and of the CronJob run, and how they get the image. */}}
{{- define "pushroll.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
