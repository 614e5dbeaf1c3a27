variable "project" {
  description = "The project whose Artifact Registry is watched, and in which the subscription is made."
  type        = string
}

variable "endpoint" {
  description = "Where pushes go to: https://PUSHROLL_HOST/v1/push. It is the tokens' audience, too. Not with `pull`."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint == null || can(regex("^https://[^/]+/v1/push$", var.endpoint))
    error_message = "The endpoint is https://PUSHROLL_HOST/v1/push."
  }
}

variable "pull" {
  description = "Whether pushroll pulls from the subscription: Pub/Sub pushes nothing then, and `endpoint` is not set."
  type        = bool
  default     = false
}

variable "namespace" {
  description = "With `pull`: the Kubernetes namespace of pushroll."
  type        = string
  default     = "pushroll"
}

variable "kubernetes_account" {
  description = "With `pull`: the Kubernetes ServiceAccount of pushroll."
  type        = string
  default     = "pushroll"
}

variable "cluster_project" {
  description = "With `pull`: the project of the cluster, where that is not `project`."
  type        = string
  default     = null
}

variable "account" {
  description = "With `pull`: whether to make a Google account (`name` with `-pull` behind it) that the Kubernetes account acts as. Rules of VPC Service Controls cannot name a Kubernetes account."
  type        = bool
  default     = false
}

variable "name" {
  description = "Of the subscription, and with `-push` behind it of the account that it pushes as. One for each cluster."
  type        = string
  default     = "pushroll"
}

variable "create_topic" {
  description = "Whether to make the topic gcr. False where it is there: once for a project, Artifact Registry may have made it."
  type        = bool
  default     = true
}

variable "ack_deadline_seconds" {
  description = "How long Pub/Sub waits for an answer. More than pushroll's --hold (8 s)."
  type        = number
  default     = 20

  validation {
    condition     = var.ack_deadline_seconds >= 10 && var.ack_deadline_seconds <= 600
    error_message = "Pub/Sub takes 10 to 600 seconds."
  }
}

variable "max_delivery_attempts" {
  description = "After how many a message goes to the dead-letter topic."
  type        = number
  default     = 100

  validation {
    condition     = var.max_delivery_attempts >= 5 && var.max_delivery_attempts <= 100
    error_message = "Pub/Sub takes 5 to 100."
  }
}

variable "address" {
  description = "Whether to reserve a global address of that name, for deploy/components/gke-gateway or gke-ingress."
  type        = bool
  default     = false
}

variable "certificate" {
  description = "Whether Certificate Manager gets a certificate, in a map of that name, for deploy/components/gke-gateway."
  type        = bool
  default     = false
}
