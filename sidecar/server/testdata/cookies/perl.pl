# Prints what Perl's cookie parsers find under app_session, as JSON.
use strict;
use warnings;
use JSON::PP;
use CGI::Cookie;
use Cookie::Baker;

open my $file, '<:raw', $ARGV[0] or die;
local $/;
my $lines = JSON::PP->new->utf8->decode(<$file>);
my %found = ('Perl CGI' => [], 'Plack' => []);
for my $line (map { my $l = $_; utf8::downgrade($l); $l } @$lines) {
    my %cgi = CGI::Cookie->parse($line);
    push @{ $found{'Perl CGI'} }, [exists $cgi{app_session} ? map { "$_" } $cgi{app_session}->value : ()];
    my $plack = crush_cookie($line);
    push @{ $found{'Plack'} }, [exists $plack->{app_session} ? "$plack->{app_session}" : ()];
}
print JSON::PP->new->ascii->encode(\%found);
