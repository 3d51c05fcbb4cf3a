locals {
  # Database and user of the same name, so that neither program reaches the tables of the other.
  databases = toset(["dagster", "mlflow"])
}

resource "google_sql_database_instance" "main" {
  name                = var.name
  region              = var.region
  database_version    = "POSTGRES_16"
  deletion_protection = var.deletion_protection

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = var.high_availability ? "REGIONAL" : "ZONAL"
    disk_autoresize   = true
    user_labels       = local.labels

    ip_configuration {
      ipv4_enabled                                  = false
      private_network                               = google_compute_network.main.id
      ssl_mode                                      = "ENCRYPTED_ONLY"
      enable_private_path_for_google_cloud_services = false
    }

    # Who connects, what waits and what goes wrong stands in the log; what is asked does not, for it holds data.
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_hostname"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = 14
      }
    }

    # Sundays, after the daily runs.
    maintenance_window {
      day          = 7
      hour         = 4
      update_track = "stable"
    }
  }

  depends_on = [google_service_networking_connection.database]
}

resource "google_sql_database" "of" {
  for_each = local.databases

  instance = google_sql_database_instance.main.name
  name     = each.value
}

resource "random_password" "of" {
  for_each = local.databases

  length = 32
  # It stands in a URL.
  special = false
}

resource "google_sql_user" "of" {
  for_each = local.databases

  instance = google_sql_database_instance.main.name
  name     = each.value
  password = random_password.of[each.value].result
}

# The addresses with their passwords: what DAGSTER_POSTGRES_URL and STOCKCAST_MLFLOW_URI of the pods are.
resource "google_secret_manager_secret" "address" {
  for_each = local.databases

  secret_id = "${var.name}-${each.value}-postgres-url"
  labels    = local.labels

  replication {
    auto {}
  }

  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_version" "address" {
  for_each = local.databases

  secret = google_secret_manager_secret.address[each.value].id
  secret_data = join("", [
    "postgresql://${each.value}:${random_password.of[each.value].result}",
    "@${google_sql_database_instance.main.private_ip_address}:5432/${each.value}?sslmode=require",
  ])
}
