output "audience" {
  description = "PUSHROLL_AUDIENCE."
  value       = var.endpoint
}

output "service_account" {
  description = "PUSHROLL_SERVICE_ACCOUNT."
  value       = google_service_account.push.email
}

output "subscription" {
  description = "The subscription, as projects/PROJECT/subscriptions/NAME."
  value       = google_pubsub_subscription.pushroll.id
}

output "dead_letter_subscription" {
  description = "What keeps the messages that were given up."
  value       = google_pubsub_subscription.dead.id
}

output "address" {
  description = "What the host name is to resolve to; null without `address`."
  value       = one(google_compute_global_address.pushroll[*].address)
}
