{{/* What values.schema.json cannot say: values that do not go together. */}}
{{- define "pushroll.check" -}}
{{- $pushes := or .Values.push.audience .Values.push.serviceAccount -}}
{{- if not (or $pushes .Values.pull.subscription) -}}
{{- fail "\n\npushroll has nowhere to get pushes from: set push.audience and push.serviceAccount (the endpoint of the subscription and the account it pushes as), or pull.subscription (projects/PROJECT/subscriptions/NAME). `deploy/gcp/setup` makes the subscription and prints them." -}}
{{- end -}}
{{- if and .Values.push.audience (not .Values.push.serviceAccount) -}}
{{- fail "\n\npush.audience is set and push.serviceAccount is not: set it to the account that the subscription pushes as (--push-auth-service-account)." -}}
{{- end -}}
{{- if and .Values.push.serviceAccount (not .Values.push.audience) -}}
{{- fail "\n\npush.serviceAccount is set and push.audience is not: set it to the subscription's --push-auth-token-audience, else its --push-endpoint." -}}
{{- end -}}
{{- with .Values.gke -}}
{{- if and .gateway.enabled .ingress.enabled -}}
{{- fail "\n\ngke.gateway.enabled and gke.ingress.enabled are both true: choose one of them. The Gateway is the newer way." -}}
{{- end -}}
{{- range $way := list "gateway" "ingress" -}}
{{- if and (index $.Values.gke $way "enabled") (not $pushes) -}}
{{- fail (printf "\n\ngke.%s.enabled is true, but pushroll only pulls, so nothing comes in there: set it to false, or set push.audience and push.serviceAccount." $way) -}}
{{- end -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.host) -}}
{{- fail "\n\ngke.ingress.enabled is true and gke.ingress.host is not set: Google's certificate needs the host name of the push endpoint." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.refresh.immutableWorkload (not .Values.refresh.enabled) -}}
{{- fail "\n\nrefresh.immutableWorkload is set and refresh.enabled is not: the CronJob writes the immutable ConfigMaps, so set refresh.enabled to true." -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.notify.sinks -}}
{{- if has .name $names -}}
{{- fail (printf "\n\ntwo of notify.sinks have the name %s: name each differently." .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $suffix := include "pushroll.suffix" . -}}
{{- if or (gt (len $suffix) 36) (contains "." $suffix) -}}
{{- fail (printf "\n\nthe names would end in %s, and with it be longer than Kubernetes allows, or have a dot: set instance to at most 35 letters, digits and hyphens." $suffix) -}}
{{- end -}}
{{- end }}
