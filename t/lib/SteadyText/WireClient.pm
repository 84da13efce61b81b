# Clients of a daemon that is tested by itself, without PostgreSQL: each has a connection of its own (build/wire-client).
#
#   my $client = connect_to_daemon($endpoint, $seconds_for_a_reply);
#   say_to($client, 'an id', 'generate', prompt => 'x');
#   my $reply = reply_to($client);      # the next one, decoded
#   finish $client->{process};          # IPC::Run's
package SteadyText::WireClient;

use strict;
use warnings;
use Exporter qw(import);
use IPC::Run qw(start);
use JSON::PP ();

our @EXPORT = qw(connect_to_daemon say_to reply_to);
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# More of what IPC::Run's start() takes, such as a timeout() for all that the client does.
sub connect_to_daemon {
    my ($endpoint, $patience, @more) = @_;
    my %client = (in => '', out => '');
    $client{process} = start [ 'build/wire-client', $endpoint, $patience * 1000 ], '<', \$client{in}, '>', \$client{out}, @more;
    return \%client;
}

sub say_to {
    my ($client, $id, $method, %params) = @_;
    $client->{in} .= $json->encode({ id => $id, method => $method, params => \%params }) . "\n";
    $client->{process}->pump_nb while length $client->{in};
    return;
}

sub reply_to {
    my ($client) = @_;
    $client->{in} .= "<\n";
    $client->{process}->pump until $client->{out} =~ s/^(.*)\n//;
    return $json->decode($1);
}

1;
