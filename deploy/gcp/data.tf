# The tables are made by stockcast itself, from its declarations.
resource "google_bigquery_dataset" "tables" {
  dataset_id                 = replace(var.name, "-", "_")
  friendly_name              = "stockcast"
  description                = "Bars, indicators, models, forecasts, drift: one table per asset, and stages that expire."
  location                   = var.location
  delete_contents_on_destroy = !var.deletion_protection
  labels                     = local.labels

  depends_on = [google_project_service.needed]
}

locals {
  # Days after which an object goes; none for models and reports, which stockcast prunes itself.
  buckets = {
    uploads = var.uploads_keep_days
    logs    = var.run_logs_keep_days
    models  = null
    reports = null
  }
}

resource "google_storage_bucket" "kept" {
  for_each = local.buckets

  name                        = "${var.project}-${var.name}-${each.key}"
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection
  labels                      = local.labels

  # What is overwritten or removed by mistake can be brought back for two weeks.
  versioning {
    enabled = each.value == null
  }

  dynamic "lifecycle_rule" {
    for_each = each.value == null ? [] : [each.value]

    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 14
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  depends_on = [google_project_service.needed]
}
