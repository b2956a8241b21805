package controllers

// Begin is what is done before a ticket may be issued.
var Begin = (*MFATicketReconciler).begin
