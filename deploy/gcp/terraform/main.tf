# What pushroll needs of Google Cloud, besides the cluster: the topic `gcr` and a subscription to it, an authenticated push
# subscription or one that pushroll pulls from (pull.tf), with a dead-letter topic. deploy/gcp/setup does the same with
# gcloud; docs/gke.md says why each setting is what it is.

data "google_project" "this" {
  project_id = var.project
}

locals {
  # Google's own account of Pub/Sub in this project. It signs the tokens of a push, and moves what goes to the dead-letter
  # topic.
  agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  host  = var.endpoint == null ? null : split("/", var.endpoint)[2]
}

# To which Artifact Registry publishes every push of the project; the name is Google's.
resource "google_pubsub_topic" "gcr" {
  count = var.create_topic ? 1 : 0

  project = var.project
  name    = "gcr"
}

resource "google_service_account" "push" {
  count = var.pull ? 0 : 1

  project      = var.project
  account_id   = "${var.name}-push"
  display_name = "Pub/Sub pushes to pushroll"
}

# Projects from before April 8, 2021 need this; it does no harm elsewhere.
resource "google_service_account_iam_member" "token_creator" {
  count = var.pull ? 0 : 1

  service_account_id = google_service_account.push[0].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.agent
}

resource "google_pubsub_topic" "dead" {
  project = var.project
  name    = "${var.name}-dead"
}

# A topic without a subscription keeps nothing.
resource "google_pubsub_subscription" "dead" {
  project = var.project
  name    = "${var.name}-dead"
  topic   = google_pubsub_topic.dead.id

  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic_iam_member" "dead_publisher" {
  project = var.project
  topic   = google_pubsub_topic.dead.name
  role    = "roles/pubsub.publisher"
  member  = local.agent
}

resource "google_pubsub_subscription" "pushroll" {
  project = var.project
  name    = var.name
  topic   = "projects/${var.project}/topics/gcr"

  ack_deadline_seconds       = var.ack_deadline_seconds
  message_retention_duration = "604800s"

  dynamic "push_config" {
    for_each = google_service_account.push[*].email

    content {
      push_endpoint = var.endpoint

      oidc_token {
        service_account_email = push_config.value
        audience              = var.endpoint
      }
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # Never: the default is after 31 days without a push.
  expiration_policy {
    ttl = ""
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = var.max_delivery_attempts
  }

  lifecycle {
    precondition {
      condition     = var.pull == (var.endpoint == null)
      error_message = "Set either `endpoint`, for Pub/Sub to push to, or `pull = true`, for pushroll to pull."
    }
    precondition {
      condition     = !var.pull || !(var.address || var.certificate)
      error_message = "`address` and `certificate` are for a push endpoint, and with `pull` there is none."
    }
  }

  depends_on = [
    google_pubsub_topic.gcr,
    google_pubsub_topic_iam_member.dead_publisher,
    google_service_account_iam_member.token_creator,
  ]
}

resource "google_pubsub_subscription_iam_member" "dead_subscriber" {
  project      = var.project
  subscription = google_pubsub_subscription.pushroll.name
  role         = "roles/pubsub.subscriber"
  member       = local.agent
}

resource "google_compute_global_address" "pushroll" {
  count = var.address ? 1 : 0

  project = var.project
  name    = var.name
}

resource "google_certificate_manager_certificate" "pushroll" {
  count = var.certificate ? 1 : 0

  project = var.project
  name    = var.name

  managed {
    domains = [local.host]
  }
}

resource "google_certificate_manager_certificate_map" "pushroll" {
  count = var.certificate ? 1 : 0

  project = var.project
  name    = var.name
}

resource "google_certificate_manager_certificate_map_entry" "pushroll" {
  count = var.certificate ? 1 : 0

  project      = var.project
  name         = var.name
  map          = google_certificate_manager_certificate_map.pushroll[0].name
  certificates = [google_certificate_manager_certificate.pushroll[0].id]
  hostname     = local.host
}
