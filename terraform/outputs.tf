output "cluster_endpoint" {
  description = "Address of the cluster's API."
  value       = module.eks.cluster_endpoint
}

output "cluster_name" {
  description = "Name of the cluster."
  value       = module.eks.cluster_name
}

output "cluster_version" {
  description = "Minor version of the cluster."
  value       = module.eks.cluster_version
}

output "configure_kubectl" {
  description = "The command that makes kubectl speak to the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${module.eks.cluster_name}"
}

output "private_subnets" {
  description = "Ids of the subnets of nodes and pods."
  value       = module.vpc.private_subnets
}

output "public_subnets" {
  description = "Ids of the subnets of the load balancer and the NAT."
  value       = module.vpc.public_subnets
}

output "vpc_id" {
  description = "Id of the VPC."
  value       = module.vpc.vpc_id
}

output "backup_bucket" {
  description = "Bucket of the database dumps."
  value       = module.backups.bucket
}
