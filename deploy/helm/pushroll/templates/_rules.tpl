{{/*
Each role, in up to two parts of one name: over the workloads, and in pushroll's own namespace. deploy/roles says what
each rule is for, deploy/README.md which command needs which role.
*/}}
{{- define "pushroll.workloadRules" -}}
event-writer:
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create, patch]
{{- if .Values.readPods }}
pod-reader:
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
{{- end }}
reader:
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [get, list]
refresher:
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [list]
restarter:
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [get, patch]
watcher:
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [list, watch]
{{- end }}

{{- define "pushroll.ownRules" -}}
reader:
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [{{ include "pushroll.cache" . | quote }}]
    verbs: [get]
refresher:
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [{{ include "pushroll.cache" . | quote }}]
    verbs: [get, patch]
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [create]
watcher:
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [{{ include "pushroll.cache" . | quote }}]
    verbs: [get, patch]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [create]
waiting:
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [{{ include "pushroll.waiting" . | quote }}]
    verbs: [get, patch]
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [create]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [{{ include "pushroll.waiting" . | quote }}]
    verbs: [get, patch]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [create]
{{- if .Values.refreshMounts }}
mount-refresher:
  - apiGroups: [""]
    resources: [pods]
    verbs: [list, patch]
{{- end }}
{{- with .Values.refresh.immutableWorkload }}
immutable:
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [list, create, patch, delete]
  - apiGroups: [apps]
    resources: [{{ splitList "/" . | first }}s]
    resourceNames: [{{ splitList "/" . | last | quote }}]
    verbs: [get, patch]
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
  - apiGroups: [apps]
    resources: [replicasets]
    verbs: [list]
  - apiGroups: [batch]
    resources: [jobs, cronjobs]
    verbs: [list]
{{- if $.Values.namespaces }}
  # What mounts an old version: the scan may list these in other namespaces alone.
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [list]
{{- end }}
{{- end }}
{{- end }}

{{/* A role, and its binding to the accounts that have it. Takes root, role, rules, and namespace unless it is of the cluster. */}}
{{- define "pushroll.role" -}}
{{- $kind := ternary "Role" "ClusterRole" (hasKey . "namespace") }}
{{- $name := printf "pushroll-%s%s" .role (include "pushroll.suffix" .root) }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels: {{- include "pushroll.labels" .root | nindent 4 }}
rules: {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels: {{- include "pushroll.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  {{- if ne .role "immutable" }}
  - kind: ServiceAccount
    name: {{ include "pushroll.name" .root }}
    namespace: {{ .root.Release.Namespace | quote }}
  {{- end }}
  {{- if and .root.Values.refresh.enabled (has .role (list "refresher" "mount-refresher" "immutable")) }}
  - kind: ServiceAccount
    name: {{ include "pushroll.refresher" .root }}
    namespace: {{ .root.Release.Namespace | quote }}
  {{- end }}
{{- end }}
