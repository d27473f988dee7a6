output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.dumps.bucket
}

output "role_arns" {
  description = "The identities that may add dumps, by service account."
  value       = { for account, role in aws_iam_role.writer : account => role.arn }
}
