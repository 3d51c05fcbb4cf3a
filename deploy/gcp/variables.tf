variable "project" {
  description = "Google Cloud project that everything is made in; it must exist and have billing."
  type        = string
}

variable "region" {
  description = "Region of the cluster, the database and the registry."
  type        = string
  default     = "europe-west1"
}

variable "location" {
  description = "Location of the dataset and the buckets: a region, EU or US. It cannot be changed later."
  type        = string
  default     = "EU"
}

variable "name" {
  description = "Beginning of the names of what is made: several deployments may share a project."
  type        = string
  default     = "stockcast"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,15}$", var.name))
    error_message = "Use 3 to 16 lower-case letters, digits and dashes, a letter first: it begins names of accounts."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the chart; the service accounts of deploy/k8s are bound in it."
  type        = string
  default     = "stockcast"
}

variable "database_tier" {
  description = "Machine type of Cloud SQL."
  type        = string
  default     = "db-custom-1-3840"
}

variable "high_availability" {
  description = "Whether the database has a standby in another zone, which doubles its price."
  type        = bool
  default     = false
}

variable "uploads_keep_days" {
  description = "Days for which uploaded files are kept; their bars are in the dataset."
  type        = number
  default     = 90
}

variable "run_logs_keep_days" {
  description = "Days for which what runs printed is kept."
  type        = number
  default     = 30
}

variable "billing_account" {
  description = "Billing account of the budget alert, XXXXXX-XXXXXX-XXXXXX; no alert if empty."
  type        = string
  default     = ""
}

variable "monthly_budget" {
  description = "Units of the billing account's currency a month, of which 50, 90 and 100 percent are told."
  type        = number
  default     = 200
}

variable "deletion_protection" {
  description = "Whether cluster, database and dataset refuse to be destroyed."
  type        = bool
  default     = true
}

variable "image" {
  description = "Image of runs as Cloud Run jobs, with its version; no job is made if empty, as for runs on the cluster."
  type        = string
  default     = ""
}

variable "mlflow_uri" {
  description = "Address of the tracking server as Cloud Run jobs reach it; it holds no password."
  type        = string
  default     = ""
}
