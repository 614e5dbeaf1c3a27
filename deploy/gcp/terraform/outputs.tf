output "audience" {
  description = "PUSHROLL_AUDIENCE; null with `pull`."
  value       = var.endpoint
}

output "service_account" {
  description = "PUSHROLL_SERVICE_ACCOUNT; null with `pull`."
  value       = one(google_service_account.push[*].email)
}

output "subscription" {
  description = "The subscription, as projects/PROJECT/subscriptions/NAME. With `pull` it is PUSHROLL_PULL."
  value       = google_pubsub_subscription.pushroll.id
}

output "dead_letter_subscription" {
  description = "What keeps the messages that were given up."
  value       = google_pubsub_subscription.dead.id
}

output "annotation" {
  description = "The annotation of the Kubernetes account; null without `account`."
  value       = one([for email in google_service_account.pull[*].email : "iam.gke.io/gcp-service-account=${email}"])
}

output "address" {
  description = "What the host name is to resolve to; null without `address`."
  value       = one(google_compute_global_address.pushroll[*].address)
}
