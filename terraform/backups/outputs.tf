output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.dumps.bucket
}

output "role_arn" {
  description = "The identity that may add dumps."
  value       = aws_iam_role.writer.arn
}
