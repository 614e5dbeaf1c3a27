variable "project" {
  description = "The project whose Artifact Registry is watched, and in which the subscription is made."
  type        = string
}

variable "endpoint" {
  description = "Where pushes go to: https://PUSHROLL_HOST/v1/push. It is the tokens' audience, too."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/v1/push$", var.endpoint))
    error_message = "The endpoint is https://PUSHROLL_HOST/v1/push."
  }
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
