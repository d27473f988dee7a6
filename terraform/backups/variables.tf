variable "name" {
  description = "Beginning of the names of the bucket and the role."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,26}[a-z0-9]$", var.name))
    error_message = "3 to 28 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "cluster_name" {
  description = "The EKS cluster whose service account may write."
  type        = string
}

variable "namespace" {
  description = "Where the service accounts are that may write: those of the two CronJobs."
  type        = string
  default     = "device-statistics"
}

variable "keep_days" {
  description = "How long a dump is kept."
  type        = number

  validation {
    condition     = var.keep_days >= 7 && var.keep_days <= 3650
    error_message = "7 to 3650 days."
  }
}

variable "delete_on_destroy" {
  description = "Whether a bucket that holds dumps may be deleted with them."
  type        = bool
  default     = false
}
