# Prints what Ruby's cookie parsers find under app_session, as JSON.
require "json"
require "cgi"
require "rack/utils"

bytes = ->(s) { s.to_s.dup.force_encoding("BINARY").unpack("C*").pack("U*") }
lines = JSON.parse(File.read(ARGV[0])).map { |l| l.unpack("U*").pack("C*").force_encoding("ASCII-8BIT") }
found = { "Rack" => [], "Ruby CGI" => [] }
lines.each do |line|
  rack = begin
    Rack::Utils.parse_cookies_header(line.dup)
  rescue ArgumentError
    {}
  end
  found["Rack"] << (rack.key?("app_session") ? [bytes.(rack["app_session"])] : [])
  cgi = begin
    CGI::Cookie.parse(line.dup)
  rescue ArgumentError # it refuses the request
    {}
  end
  found["Ruby CGI"] << (cgi.key?("app_session") ? cgi["app_session"].to_a.map(&bytes) : [])
end
print JSON.generate(found)
