locals {
  environment = {
    STOCKCAST_WAREHOUSE   = "bigquery"
    STOCKCAST_GCP_PROJECT = var.project
    STOCKCAST_BQ_DATASET  = google_bigquery_dataset.tables.dataset_id
    STOCKCAST_BQ_LOCATION = var.location
    STOCKCAST_UPLOADS     = "gs://${google_storage_bucket.kept["uploads"].name}"
    STOCKCAST_REPORTS     = "gs://${google_storage_bucket.kept["reports"].name}"
    DAGSTER_RUN_LOGS      = "gs://${google_storage_bucket.kept["logs"].name}/dagster"
  }
}

output "environment" {
  description = "What the pods' settings are: deploy/k8s/settings.yaml takes them."
  value       = local.environment
}

output "models" {
  description = "MLFLOW_ARTIFACTS_DESTINATION of the tracking server."
  value       = "gs://${google_storage_bucket.kept["models"].name}"
}

output "images" {
  description = "Where images are pushed to."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "secrets" {
  description = "Names of the secrets with the databases' addresses, for `gcloud secrets versions access latest --secret NAME`."
  value       = { for name, secret in google_secret_manager_secret.address : name => secret.secret_id }
}

output "service_accounts" {
  description = "iam.gke.io/gcp-service-account of the cluster's service accounts."
  value       = { for name, account in google_service_account.pods : name => account.email }
}

output "cluster" {
  description = "For `gcloud container clusters get-credentials NAME --region REGION`."
  value       = google_container_cluster.main.name
}
