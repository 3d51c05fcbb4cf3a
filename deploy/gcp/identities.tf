# Three accounts, none with a key: pods of the cluster are they by Workload Identity.
locals {
  accounts = {
    runner       = "Runs: reads uploads, writes tables, models and reports."
    orchestrator = "Daemon, webserver and code location: reads tables, moves bad uploads aside, starts runs."
    mlflow       = "The tracking server: its artifacts."
  }

  # Rights on one bucket each, never on the project.
  bucket_rights = {
    runner_uploads       = { account = "runner", bucket = "uploads", role = "roles/storage.objectViewer" }
    runner_logs          = { account = "runner", bucket = "logs", role = "roles/storage.objectUser" }
    runner_reports       = { account = "runner", bucket = "reports", role = "roles/storage.objectUser" }
    orchestrator_uploads = { account = "orchestrator", bucket = "uploads", role = "roles/storage.objectUser" }
    orchestrator_logs    = { account = "orchestrator", bucket = "logs", role = "roles/storage.objectUser" }
    orchestrator_reports = { account = "orchestrator", bucket = "reports", role = "roles/storage.objectViewer" }
    mlflow_models        = { account = "mlflow", bucket = "models", role = "roles/storage.objectUser" }
  }

  # What keeps logs in a bucket looks whether it is there.
  bucket_lookers = toset(["runner", "orchestrator"])

  dataset_rights = {
    runner       = "roles/bigquery.dataEditor"
    orchestrator = "roles/bigquery.dataViewer"
  }

  # To run queries and to read their results are rights on the project; which tables they reach, one on the dataset.
  query_rights = {
    for pair in setproduct(keys(local.dataset_rights), ["roles/bigquery.jobUser", "roles/bigquery.readSessionUser"]) :
    "${pair[0]} ${pair[1]}" => { account = pair[0], role = pair[1] }
  }
}

resource "google_service_account" "pods" {
  for_each = local.accounts

  account_id   = "${var.name}-${each.key}"
  display_name = "stockcast ${each.key}"
  description  = each.value

  depends_on = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "objects" {
  for_each = local.bucket_rights

  bucket = google_storage_bucket.kept[each.value.bucket].name
  role   = each.value.role
  member = google_service_account.pods[each.value.account].member
}

resource "google_storage_bucket_iam_member" "looks_for_logs" {
  for_each = local.bucket_lookers

  bucket = google_storage_bucket.kept["logs"].name
  role   = "roles/storage.bucketViewer"
  member = google_service_account.pods[each.value].member
}

resource "google_project_iam_member" "queries" {
  for_each = local.query_rights

  project = var.project
  role    = each.value.role
  member  = google_service_account.pods[each.value.account].member
}

resource "google_bigquery_dataset_iam_member" "tables" {
  for_each = local.dataset_rights

  dataset_id = google_bigquery_dataset.tables.dataset_id
  role       = each.value
  member     = google_service_account.pods[each.key].member
}

resource "google_service_account_iam_member" "workload_identity" {
  for_each = local.accounts

  service_account_id = google_service_account.pods[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.namespace}/stockcast-${each.key}]"

  # The pool is there with the first cluster.
  depends_on = [google_container_cluster.main]
}

# What the nodes of the cluster are: they pull images and tell what they do, no more.
resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  display_name = "stockcast nodes"

  depends_on = [google_project_service.needed]
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}
