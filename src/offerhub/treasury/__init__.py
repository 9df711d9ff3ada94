"""The operator's money that pays escrows in while users pay in and out through Airtm."""
