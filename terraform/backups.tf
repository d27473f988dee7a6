module "backups" {
  source = "./backups"

  name              = var.name
  cluster_name      = module.eks.cluster_name
  keep_days         = var.backup_days
  delete_on_destroy = var.delete_backups_on_destroy
}

# kustomize reads it: k8s/components/backup-to-s3. git ignores it.
resource "local_file" "bucket" {
  filename        = "${path.module}/../k8s/components/backup-to-s3/bucket.env"
  file_permission = "0644"
  content         = "S3_BUCKET=${module.backups.bucket}\nAWS_REGION=${var.region}\n"
}
