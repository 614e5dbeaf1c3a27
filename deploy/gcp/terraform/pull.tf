# For `pull`: what the Kubernetes account of pushroll may do, by itself (Workload Identity Federation for GKE), or with
# `account` as a Google account. Google advises the first ("Why you should avoid service account impersonation"):
# https://cloud.google.com/blog/products/identity-security/make-iam-for-gke-easier-to-use-with-workload-identity-federation

data "google_project" "cluster" {
  count = var.pull ? 1 : 0

  project_id = local.cluster_project
}

locals {
  cluster_project        = coalesce(var.cluster_project, var.project)
  cluster_project_number = one(data.google_project.cluster[*].number)

  puller = !var.pull ? null : (
    var.account
    ? "serviceAccount:${one(google_service_account.pull[*].email)}"
    : "principal://iam.googleapis.com/projects/${local.cluster_project_number}/locations/global/workloadIdentityPools/${local.cluster_project}.svc.id.goog/subject/ns/${var.namespace}/sa/${var.kubernetes_account}"
  )
}

resource "google_service_account" "pull" {
  count = var.pull && var.account ? 1 : 0

  project      = var.project
  account_id   = "${var.name}-pull"
  display_name = "pushroll pulls from Pub/Sub"
}

resource "google_service_account_iam_member" "kubernetes" {
  count = var.pull && var.account ? 1 : 0

  service_account_id = google_service_account.pull[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${local.cluster_project}.svc.id.goog[${var.namespace}/${var.kubernetes_account}]"
}

resource "google_pubsub_subscription_iam_member" "pull" {
  count = var.pull ? 1 : 0

  project      = var.project
  subscription = google_pubsub_subscription.pushroll.name
  role         = "roles/pubsub.subscriber"
  member       = local.puller
}

# To look at the settings of the subscription: pushroll names what is wrong with them.
resource "google_pubsub_subscription_iam_member" "view" {
  count = var.pull ? 1 : 0

  project      = var.project
  subscription = google_pubsub_subscription.pushroll.name
  role         = "roles/pubsub.viewer"
  member       = local.puller
}

# pushroll restart --from.
resource "google_pubsub_subscription_iam_member" "pull_dead" {
  count = var.pull ? 1 : 0

  project      = var.project
  subscription = google_pubsub_subscription.dead.name
  role         = "roles/pubsub.subscriber"
  member       = local.puller
}
