# A run as a Cloud Run job, for a deployment whose dagster.yaml names CloudRunRunLauncher: made where an image is named.
# The launcher starts an execution with the arguments of one run; the job itself is started by nobody else.
locals {
  settings = merge(local.environment, { STOCKCAST_MLFLOW_URI = var.mlflow_uri, STOCKCAST_LOG_FORMAT = "json" })
  jobs     = var.image == "" ? toset([]) : toset(["runs"])
}

resource "google_cloud_run_v2_job" "runs" {
  for_each = local.jobs

  name                = "${var.name}-${each.key}"
  location            = var.region
  deletion_protection = var.deletion_protection
  labels              = local.labels

  template {
    template {
      service_account = google_service_account.pods["runner"].email
      # As max_runtime_seconds of dagster.yaml. Dagster repeats a run whose machine went away, and knows why.
      timeout     = "21600s"
      max_retries = 0

      containers {
        image = var.image

        resources {
          limits = { cpu = "4", memory = "8Gi" }
        }

        dynamic "env" {
          for_each = local.settings

          content {
            name  = env.key
            value = env.value
          }
        }

        env {
          name = "DAGSTER_POSTGRES_URL"

          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.address["dagster"].secret_id
              version = "latest"
            }
          }
        }
      }

      # The database has no address outside; to Yahoo it is the usual way.
      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = google_compute_network.main.id
          subnetwork = google_compute_subnetwork.main.id
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.runner_reads_address]
}

resource "google_secret_manager_secret_iam_member" "runner_reads_address" {
  for_each = local.jobs

  secret_id = google_secret_manager_secret.address["dagster"].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.pods["runner"].member
}

# To start it with the arguments of a run, and to look whether it lives: this one job.
resource "google_cloud_run_v2_job_iam_member" "orchestrator_starts" {
  for_each = local.jobs

  name     = google_cloud_run_v2_job.runs[each.key].name
  location = var.region
  role     = "roles/run.jobsExecutorWithOverrides"
  member   = google_service_account.pods["orchestrator"].member
}

resource "google_cloud_run_v2_job_iam_member" "orchestrator_looks" {
  for_each = local.jobs

  name     = google_cloud_run_v2_job.runs[each.key].name
  location = var.region
  role     = "roles/run.viewer"
  member   = google_service_account.pods["orchestrator"].member
}
