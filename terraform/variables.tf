variable "operator_cidrs" {
  description = "Who may reach the cluster's API endpoint: your office's or VPN's ranges, such as [\"198.18.7.9/32\"]."
  type        = list(string)

  validation {
    condition     = length(var.operator_cidrs) > 0 && alltrue([for cidr in var.operator_cidrs : can(cidrnetmask(cidr))])
    error_message = "At least one IPv4 range in CIDR notation is needed, such as 198.18.7.9/32."
  }

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, true)])
    error_message = "A range wider than /8 (0.0.0.0/0 above all) opens the API endpoint to the world."
  }

  validation {
    condition = alltrue([
      for cidr in var.operator_cidrs : !anytrue([
        for documentation in ["192.0.2.", "198.51.100.", "203.0.113."] : startswith(cidr, documentation)
      ])
    ])
    error_message = "192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24 stand for addresses in documents: put your own here."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is named like us-east-1."
  }
}

variable "name" {
  description = "Name of the cluster, and the beginning of the names of what belongs to it."
  type        = string
  default     = "device-statistics"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,26}[a-z0-9]$", var.name))
    error_message = "3 to 28 lower-case letters, digits and hyphens, beginning with a letter: names of roles are made of it."
  }
}

variable "environment" {
  description = "production has a NAT gateway in each zone; staging has one, and goes without internet when its zone does."
  type        = string
  default     = "production"

  validation {
    condition     = contains(["production", "staging"], var.environment)
    error_message = "production or staging."
  }
}

variable "kubernetes_version" {
  description = "Minor version of the cluster. One step at a time upwards; never down."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.3[2-5]$", var.kubernetes_version))
    error_message = "1.32 to 1.35: the versions that the manifests are validated against, and those between."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC; every subnet lies in it."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "An IPv4 range from /16 to /20."
  }
}

variable "private_subnets" {
  description = "One for each zone: nodes and pods, which take an address each."
  type        = list(string)
  default     = ["10.0.0.0/20", "10.0.16.0/20", "10.0.32.0/20"]

  validation {
    condition     = length(var.private_subnets) == 3 && alltrue([for cidr in var.private_subnets : can(cidrnetmask(cidr))])
    error_message = "Three IPv4 ranges, one for each zone."
  }

  validation {
    condition     = alltrue([for cidr in var.private_subnets : try(cidrhost("${split("/", cidr)[0]}/${split("/", var.vpc_cidr)[1]}", 0) == cidrhost(var.vpc_cidr, 0), true)])
    error_message = "Every subnet lies inside vpc_cidr."
  }
}

variable "public_subnets" {
  description = "One for each zone: load balancer and NAT. k8s/components/load-balancer admits exactly these."
  type        = list(string)
  default     = ["10.0.48.0/24", "10.0.49.0/24", "10.0.50.0/24"]

  validation {
    condition     = length(var.public_subnets) == 3 && alltrue([for cidr in var.public_subnets : can(cidrnetmask(cidr))])
    error_message = "Three IPv4 ranges, one for each zone."
  }

  validation {
    condition     = alltrue([for cidr in var.public_subnets : try(cidrhost("${split("/", cidr)[0]}/${split("/", var.vpc_cidr)[1]}", 0) == cidrhost(var.vpc_cidr, 0), true)])
    error_message = "Every subnet lies inside vpc_cidr."
  }
}

variable "system_nodes" {
  description = "The node group that hosts what Karpenter cannot buy nodes for: itself, DNS, the controllers."
  type        = object({ instance_type = string, min = number, desired = number, max = number })
  default     = { instance_type = "m6i.large", min = 2, desired = 2, max = 3 }

  validation {
    condition     = var.system_nodes.min >= 2
    error_message = "With one node, an upgrade stops Karpenter itself."
  }

  validation {
    condition     = var.system_nodes.min <= var.system_nodes.desired && var.system_nodes.desired <= var.system_nodes.max
    error_message = "min <= desired <= max."
  }

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9]+$", var.system_nodes.instance_type))
    error_message = "An instance type is named like m6i.large."
  }
}

variable "ami_alias" {
  description = "Machine image of Karpenter's nodes, pinned: a new one comes with a change here, not with the next node."
  type        = string
  default     = "al2023@v20260714"

  validation {
    condition     = can(regex("^al2023@v20[0-9]{6}$", var.ami_alias))
    error_message = "A dated alias such as al2023@v20260714; never @latest."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the control plane's and the network's logs."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "One of 30, 60, 90, 180, 365, 400, 731: CloudWatch knows no other between."
  }
}

variable "backup_days" {
  description = "How long a database dump is kept in the bucket."
  type        = number
  default     = 35

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 3650
    error_message = "7 to 3650 days."
  }
}

variable "delete_backups_on_destroy" {
  description = "Whether `terraform destroy` may delete a bucket that holds dumps. Otherwise it stops there."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of every resource, such as an owner or a cost centre."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "AWS keeps tags that begin with aws: to itself."
  }
}
