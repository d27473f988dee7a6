module "backups" {
  source = "./backups"

  name              = var.name
  cluster_name      = module.eks.cluster_name
  keep_days         = var.backup_days
  delete_on_destroy = var.delete_backups_on_destroy
}

# Names the kustomize components that need what is built here; git ignores the file.
resource "local_file" "components" {
  filename        = "${path.module}/../k8s/components/from-terraform/kustomization.yaml"
  file_permission = "0644"
  content = templatefile("${path.module}/templates/components.yaml.tftpl", {
    bucket = module.backups.bucket
    region = var.region
  })
}
